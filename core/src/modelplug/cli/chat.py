"""`modelplug chat`: talk with a model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.first_start import offer_migration
from modelplug.cli.generation import (
    generation_options,
    load_for,
    load_options,
    params_of,
    show_outcome,
    stream,
)
from modelplug.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    ContextOverflowError,
    ModelplugError,
    UsageError,
    WorkerCrashedError,
    WorkerTimeoutError,
)

if TYPE_CHECKING:
    from modelplug.backends.loaded import LoadedModel
    from modelplug.backends.model import GenerateParams, Message
    from modelplug.cli.context import App

__all__ = ["command"]

HELP = """\
  /clear         forget the conversation
  /system TEXT   set the system message (and forget the conversation)
  /help          show this
  /exit          leave (so does the end of input)"""


@click.command("chat")
@click.argument("model", required=False)
@generation_options
@load_options
@click.option("--system", metavar="TEXT", help="A system message to begin with.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per chunk, and one per turn with statistics."
)
@click.pass_obj
def command(app: App, /, model: str | None, *, system: str | None, as_json: bool, **options: Any) -> int:
    """Keep a conversation with MODEL, in the model's own chat format.

    Without MODEL it is the one of the setting `model_path`.

    Each line you type is one message. With input from a file or pipe, each line of it is.
    """
    offer_migration(app)
    params = params_of(app, options)
    with load_for(app, model or _usual_model(app), options) as loaded:
        show_outcome(app, loaded, as_json=as_json)
        # Said before the first message is typed, and not in answer to it.
        loaded.check_can_chat()
        conversation = Conversation(app, loaded, params, system=system, as_json=as_json)
        return conversation.run()


def _usual_model(app: App) -> str:
    model = app.runtime.config.settings.model_path
    if not model:
        raise UsageError(
            "no model is named",
            why="the command names none, and neither does the setting model_path",
            advice="Type `modelplug chat demo`, or set a model for always: "
            "`modelplug config set model_path PATH`.",
        )
    return model


class Conversation:
    """A conversation at the terminal.

    Args:
        app: The invocation.
        loaded: The model.
        params: How to generate.
        system: The system message, if any.
        as_json: Whether to write JSON lines.
    """

    def __init__(
        self, app: App, loaded: LoadedModel, params: GenerateParams, *, system: str | None, as_json: bool
    ) -> None:
        self._app = app
        self._loaded = loaded
        self._params = params
        self._system = system
        self._as_json = as_json
        self._messages: list[Message] = []
        self._clear()

    def run(self) -> int:
        """Read and answer until the input ends; returns the exit status."""
        interactive = sys.stdin.isatty()
        if interactive:
            self._app.note("Type a message, or /help.")
        status = EXIT_DONE
        while (line := self._read(interactive=interactive)) is not None:
            text = line.strip()
            if not text:
                continue
            if text.startswith("/"):
                if not self._obey(text):
                    break
                continue
            try:
                status = self._answer(text)
            except ModelplugError as error:
                # Somebody who sits there can say something else, as long as there is an engine to listen.
                if not interactive or isinstance(error, (WorkerCrashedError, WorkerTimeoutError)):
                    raise
                self._app.show_error(error)
                continue
            # At a prompt, Ctrl-C ends the answer and not the conversation.
            if status == EXIT_INTERRUPTED and not interactive:
                return status
        return EXIT_DONE if interactive else status

    def _read(self, *, interactive: bool) -> str | None:
        if interactive:
            click.echo(click.style("> ", bold=True), nl=False, err=True)
        line = sys.stdin.readline()
        return line or None

    def _obey(self, text: str) -> bool:
        word, _, rest = text.partition(" ")
        if word in ("/exit", "/quit", "/bye"):
            return False
        if word == "/clear":
            self._clear()
            self._app.note("forgotten")
        elif word == "/system":
            self._system = rest.strip() or None
            self._clear()
            self._app.note("system message set" if self._system else "system message removed")
        else:
            if word != "/help":
                self._app.warn(f"there is no command {word}")
            click.echo(HELP, err=True)
        return True

    def _clear(self) -> None:
        from modelplug.backends.model import Message

        self._messages = [Message("system", self._system)] if self._system else []

    def _answer(self, text: str) -> int:
        from modelplug.backends.model import Message

        asked = [*self._messages, Message("user", text)]
        answer: list[str] = []
        try:
            status = stream(
                self._app,
                self._loaded,
                lambda cancel: self._loaded.chat(asked, self._params, cancel=cancel),
                as_json=self._as_json,
                stats=False,
                collect=answer,
            )
        except ContextOverflowError as error:
            # The conversation has outgrown the context: its oldest turns must go, and the user must know.
            return self._forget_oldest(text, error)
        self._messages = [*asked, Message("assistant", "".join(answer))]
        return status

    def _forget_oldest(self, text: str, error: ContextOverflowError) -> int:
        before = self._messages
        turns = [message for message in before if message.role != "system"]
        if not turns:
            raise error
        self._messages = [message for message in before if message.role == "system"] + turns[2:]
        try:
            status = self._answer(text)
        except ContextOverflowError:
            # The message is too long by itself; forgetting everything else has not helped.
            self._messages = before
            raise
        self._app.warn("the conversation no longer fits into the context: its oldest turn was dropped.")
        return status
