"""Pull requests of a repository: opened in one commit, listed, looked at and commented on."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import HubError
from .leaks import refuse_leaks
from .problems import telling_cause
from .reach import transport
from .repo import BATCH_FILES, HubRepo, LocalFile, Snapshot

# Pull requests that are looked at, of the newest; a repository with more open ones needs a person.
MOST_PULLS = 500


@dataclass(frozen=True, slots=True)
class Pull:
    """An open pull request.

    Attributes:
        number: of the discussion.
        title: as its author wrote it.
        author: name of the account.
        url: its page.
    """

    number: int
    title: str
    author: str
    url: str

    @property
    def revision(self) -> str:
        """The revision its files are at."""
        return f"refs/pr/{self.number}"


class PullRequests(HubRepo):
    """The pull requests of a repository; everything raises `HubError`, as `HubRepo` does."""

    def opened(self, author: str | None = None) -> list[Pull]:
        """Open ones, the newest first.

        Args:
            author: only of this account.
        """
        with self._errors("list the pull requests", writes=False):
            found = self._api.get_repo_discussions(
                self.id,
                author=author,
                discussion_type="pull_request",
                discussion_status="open",
                repo_type=self.type,
            )
            pulls: list[Pull] = []
            for each in found:
                pulls.append(Pull(each.num, each.title, each.author, each.url))
                if len(pulls) == MOST_PULLS:
                    break
        return pulls

    def base_of(self, revision: str) -> str:
        """The commit of `main` that a pull request, or any revision, was made from.

        Raises:
            HubError: also where the two have no commit in common.
        """
        with self._errors(f"list the commits of {revision}", writes=False):
            main = {each.commit_id for each in self._api.list_repo_commits(self.id, repo_type=self.type)}
            own = self._api.list_repo_commits(self.id, repo_type=self.type, revision=revision)
        for commit in own:
            if commit.commit_id in main:
                return str(commit.commit_id)
        raise HubError(f"{revision} has no commit in common with main", file=self.id)

    def open(self, upload: Sequence[LocalFile], *, title: str, description: str, parent: str) -> Pull:
        """Open a pull request that adds files; one of this account that adds the same is not opened twice.

        Large files are sent first, and the Hub knows them by their content; the pull request then comes into being whole
        or not at all.

        Args:
            upload: files to add.
            title: one line.
            description: Markdown.
            parent: commit of `main` that it starts from.

        Raises:
            LeakError: see `leaks`.
            HubError: as of every method; running the same again continues.
        """
        refuse_leaks(upload)
        account = self.check_token()
        if (there := self._same(upload, account, title)) is not None:
            return there
        additions = [self._addition(file) for file in upload]
        for start in range(0, len(additions), BATCH_FILES):
            with self._errors("upload files", resumable=True):
                self._api.preupload_lfs_files(
                    self.id,
                    additions[start : start + BATCH_FILES],
                    repo_type=self.type,
                    create_pr=True,
                    free_memory=False,
                )
        try:
            with self._errors("open the pull request", resumable=True):
                made = self._api.create_commit(
                    self.id,
                    additions,
                    commit_message=title,
                    commit_description=description,
                    repo_type=self.type,
                    parent_commit=parent,
                    create_pr=True,
                )
        except HubError as error:
            # The answer may have got lost.
            if isinstance(telling_cause(error.__cause__ or error), transport().TransportError):
                there = self._looked_for(upload, account, title)
                if there is not None:
                    return there
            raise
        return Pull(int(made.pr_num or 0), title, account, str(made.pr_url))

    def comments(self, number: int) -> list[tuple[str, str]]:
        """Author and text of each comment of a discussion."""
        from huggingface_hub import DiscussionComment

        with self._errors(f"read pull request {number}", writes=False):
            found = self._api.get_discussion_details(self.id, number, repo_type=self.type)
        return [(each.author, each.content) for each in found.events if isinstance(each, DiscussionComment)]

    def comment(self, number: int, text: str) -> None:
        """Add a comment to a discussion.

        Args:
            number: of the discussion.
            text: Markdown; text of others in it is escaped already.
        """
        with self._errors(f"comment on pull request {number}"):
            self._api.comment_discussion(self.id, number, text, repo_type=self.type)

    def _same(self, upload: Sequence[LocalFile], account: str, title: str) -> Pull | None:
        """An open pull request of this account with this title that has all these files."""
        for pull in self.opened(account):
            if pull.title == title and _has_all(self.snapshot(pull.revision), upload):
                return pull
        return None

    def _looked_for(self, upload: Sequence[LocalFile], account: str, title: str) -> Pull | None:
        try:
            return self._same(upload, account, title)
        except HubError:
            return None


def _has_all(found: Snapshot, upload: Sequence[LocalFile]) -> bool:
    return all(file.equals(found.files.get(file.path)) for file in upload)
