// Files of what is shown, joined from the pieces that the package's own export functions made (exports.py, Sheet).

const TYPES = { csv: 'text/csv', json: 'application/json', md: 'text/markdown', tex: 'application/x-tex' }

const lineText = (line, at) => line.start + (line.cells.length ? at.map(place => line.cells[place]).join(line.between) : '') + line.end
const sheetText = (sheet, found, columnPlaces) => {
  const at = [0, ...columnPlaces.map(place => place + 1)]
  return [...sheet.head, ...found.map(place => sheet.rows[place])].map(line => lineText(line, at)).join('') + sheet.tail
}
const jsonText = (found, shown) => JSON.stringify({
  ...record,
  columns: columns.filter(column => shown.includes(column.task)),
  rows: found.map(place => ({ ...record.rows[place], cells: Object.fromEntries(Object.entries(record.rows[place].cells).filter(([task]) => shown.includes(task))) })),
}, null, 1) + '\n'

const download = kind => {
  const found = shownRows()
  const shown = shownColumns(found)
  const text = kind === 'json' ? jsonText(found, shown) : sheetText(data.sheets[kind], found, shown.map(task => tasks.indexOf(task)))
  const address = URL.createObjectURL(new Blob([text], { type: `${TYPES[kind]};charset=utf-8` }))
  const link = make('a', undefined, { href: address, download: `leaderboard.${kind}` })
  document.body.append(link)
  link.click()
  link.remove()
  // The browser holds the file from here on; the address may go once it has begun.
  setTimeout(() => URL.revokeObjectURL(address), 60_000)
}
