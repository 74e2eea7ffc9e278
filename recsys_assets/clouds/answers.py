"""Translation of the errors of cloud clients to the errors of the package, each with the next step."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import msgspec

from recsys_assets.errors import (
    Answer,
    ConfigurationError,
    InputError,
    NotFoundError,
    RecsysAssetsError,
    StoreUnavailableError,
    UnsafeStoreError,
)


class Cloud(msgspec.Struct, frozen=True):
    """Description of a cloud's client: its errors, their meaning, and the sources of its configuration."""

    scheme: str
    errors: tuple[type[Exception], ...]
    answer_of: Callable[[Exception], Answer]
    credentials: str  # the sources of credentials, for messages
    address: str  # the parts of the address to check, for messages

    def error_for(self, name: str, error: Exception) -> RecsysAssetsError:
        """Return the package's error for an error of the client, with `name` in front and the next step."""
        # Some clients write a page, and that of Azure repeats the whole answer.
        answer, text = self.answer_of(error), " ".join(str(error).split()).partition(" Content: <")[0]
        if answer is Answer.MISSING:
            return NotFoundError(f"{name} is not in the store")
        if answer is Answer.COLD:
            return InputError(
                f"{name} is in cold storage (Glacier or an archive tier): restore the object, wait for it, then "
                "run again; exclude such objects from the rules that archive them"
            )
        if answer is Answer.DENIED:
            return ConfigurationError(
                f"{name}: {text}: check the credentials ({self.credentials}), and what they permit on this bucket"
            )
        if answer is Answer.UNSUPPORTED:
            return UnsafeStoreError(
                f"{name}: {text}: the server does not support conditional writes, so two publishers could both win: "
                "use another server"
            )
        if answer in {Answer.WRONG, Answer.LOST, Answer.UNCHANGED}:
            return ConfigurationError(f"{name}: {text}: check {self.address}")
        return StoreUnavailableError(f"{name}: {text}: nothing is known to have changed; try again")

    @contextmanager
    def translated(self, name: str) -> Generator[None]:
        """Turn the client's errors into the package's, with `name` in front."""
        try:
            yield
        except self.errors as error:
            raise self.error_for(name, error) from error
