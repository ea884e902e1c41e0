// Forest plots: a line a number, from the low to the high end of its interval.

const SVG = 'http://www.w3.org/2000/svg'
const draw1 = (tag, attributes, text) => {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  if (text !== undefined) element.textContent = text
  return element
}
const short = (text, letters) => text.length <= letters ? text : `${[...text].slice(0, letters - 1).join('')}…`

// Round steps for an axis from low to high.
const stepsOf = (low, high, wanted) => {
  const raw = (high - low || 1) / wanted
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= raw)
  const first = Math.ceil(low / step)
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => Number(((first + at) * step).toFixed(6)))
}

// lines: { name, value, low, high, words, bold, hollow }, the axis holds `marks` too.
const forest = (lines, { title, marks = [], unit = '%', signed = false, from, to }) => {
  const width = Math.max(300, Math.min(900, byId('main').clientWidth - 24))
  const narrow = width < 560
  const line = narrow ? 40 : 26
  const left = narrow ? 8 : Math.min(260, width * 0.36)
  const right = narrow ? 12 : 180
  const height = lines.length * line + 40
  const ends = [...lines.flatMap(each => [each.low, each.high, each.value]), ...marks].filter(each => each !== null && each !== undefined)
  let [low, high] = [Math.min(...ends), Math.max(...ends)]
  const margin = (high - low) * 0.06 || 1
  low = Math.max(from ?? -Infinity, low - margin)
  high = Math.min(to ?? Infinity, high + margin)
  const x = value => left + (value - low) / (high - low) * (width - left - right)
  const svg = draw1('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${title}. ${lines.length} lines; the same numbers are in the table.` })
  svg.append(draw1('title', {}, title))
  for (const tick of stepsOf(low, high, narrow ? 4 : 7)) {
    svg.append(draw1('line', { x1: x(tick), x2: x(tick), y1: 4, y2: height - 24, class: marks.includes(tick) ? 'mark' : 'grid' }))
    svg.append(draw1('text', { x: x(tick), y: height - 8, class: 'tick' }, signed && tick > 0 ? `+${tick}` : String(tick)))
  }
  if (!narrow) svg.append(draw1('text', { x: width - 2, y: height - 8, class: 'unit' }, unit))
  lines.forEach((each, at) => {
    const y = at * line + (narrow ? 28 : 18)
    const group = draw1('g', { class: each.bold ? 'line top' : 'line' })
    group.append(draw1('title', {}, `${each.name}: ${each.words}`))
    if (narrow) {
      group.append(draw1('text', { x: left, y: y - 12, class: 'name' }, short(each.name, Math.floor(width / 12))))
      group.append(draw1('text', { x: width - 4, y: y - 12, class: 'words end' }, each.words))
    } else {
      group.append(draw1('text', { x: left - 10, y: y + 4, class: 'name end' }, short(each.name, Math.floor(left / 7.6))))
      group.append(draw1('text', { x: width - right + 10, y: y + 4, class: 'words' }, each.words))
    }
    if (each.low !== null && each.low !== undefined && each.high !== null && each.high !== undefined) {
      group.append(draw1('line', { x1: x(each.low), x2: x(each.high), y1: y, y2: y, class: 'reach' }))
      for (const end of [each.low, each.high]) group.append(draw1('line', { x1: x(end), x2: x(end), y1: y - 4, y2: y + 4, class: 'reach end' }))
    }
    if (each.value !== null && each.value !== undefined) {
      const shape = each.hollow
        ? draw1('rect', { x: x(each.value) - 4, y: y - 4, width: 8, height: 8, transform: `rotate(45 ${x(each.value)} ${y})`, class: 'point hollow' })
        : draw1('circle', { cx: x(each.value), cy: y, r: 5, class: 'point' })
      group.append(shape)
    }
    svg.append(group)
  })
  return svg
}

const MOST_LINES = 100
const drawForest = found => {
  const column = columnOf.get(state.task)
  const plot = byId('forest-plot')
  if (!column) return plot.replaceChildren()
  const numbers = found.filter(place => cellOf(place, state.task)?.value != null)
    .sort((one, other) => cellOf(other, state.task).value - cellOf(one, state.task).value || one - other)
  const lines = numbers.slice(0, MOST_LINES).map(place => {
    const { value, low, high } = cellOf(place, state.task)
    const words = rows[place].cells[state.task]
    return { name: label(place), value, low, high, words: `${words.value} ${words.interval ?? ''}`.trim(), bold: words.bold, hollow: !ours(place) }
  })
  plot.replaceChildren(lines.length
    ? forest(lines, { title: `${column.title}, ${metricOf.get(state.task)} in percent`, from: 0, to: 100 })
    : make('p', 'No model that is shown has a number here.', { class: 'none' }))
  byId('forest-note').textContent = [
    `${column.title}, ${metricOf.get(state.task)}, in percent. ● ours with its 95% interval; ◇ published, without interval. Bold: best, or not told apart from the highest.`,
    numbers.length > MOST_LINES ? `The highest ${MOST_LINES} of ${numbers.length}: search or filter to see others.` : '',
  ].join(' ')
}
