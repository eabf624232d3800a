"""Shows a JavaScript dialog (`alert`, `confirm`, `prompt`) as a page. The web page waits for the answer."""

from __future__ import annotations

from playwright.async_api import Dialog

from .actions import Action, RefusedAction
from .session import Session
from .tree import clean, quoted
from .view import Element, PageView

OK, CANCEL, FIELD = 1, 2, 3


class DialogBox:
    """The open dialog and the text typed into it."""

    def __init__(self, dialog: Dialog) -> None:
        self._dialog = dialog
        self._kind = dialog.type
        self._message = clean(dialog.message)
        self._text = dialog.default_value

    def is_for(self, dialog: Dialog) -> bool:
        """Return whether this box belongs to `dialog`."""
        return self._dialog is dialog

    def page(self) -> PageView:
        """Return the dialog's buttons and text field as a page."""
        lines = [f"{self._kind} dialog {quoted(self._message, 2000)}", f"[{OK}] button 'OK'"]
        found = [Element(OK, 0, "button", "OK", (), False, False, None)]
        if self._kind != "alert":
            lines.append(f"[{CANCEL}] button 'Cancel'")
            found.append(Element(CANCEL, 0, "button", "Cancel", (), False, False, None))
        if self._kind == "prompt":
            lines.append(f"[{FIELD}] textbox value {quoted(clean(self._text))} focused")
            found.append(Element(FIELD, 0, "textbox", "", (), False, True, None))
        return PageView(tuple(lines), {element.id: element for element in found})

    async def act(self, session: Session, action: Action) -> None:
        """Answer the dialog or fill in its field; raise `RefusedAction` for any other action."""
        elements = self.page().elements
        key = action.args[0].strip().lower() if action.verb == "press" and action.args else ""
        if action.verb == "type" and action.id == FIELD in elements:
            self._text = action.args[0]
            if len(action.args) > 1 and action.args[1] in ("submit", "1"):
                await session.answer_dialog(True, self._text)
        elif (action.verb == "click" and action.id == OK) or key in ("enter", "return"):
            await session.answer_dialog(True, self._text)
        elif (action.verb == "click" and action.id == CANCEL in elements) or key in ("escape", "esc"):
            await session.answer_dialog(False)
        elif not (action.verb == "click" and action.id == FIELD in elements):
            buttons = " or ".join(f"click [{number}]" for number in elements if number != FIELD)
            raise RefusedAction(f"the page waits for its dialog to be closed: {buttons}")
