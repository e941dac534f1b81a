"""How the browser's screen is laid out, in textual's style sheets: it fits 80 columns and 24 lines."""

LOOK = """
#head { width: 100%; height: 1; padding: 0 1; background: $panel; text-style: bold; }
Horizontal { height: 1fr; }
#points { width: 28; height: 100%; border: round $foreground 60%; padding: 0; border-title-color: $foreground; }
#files { width: 1fr; height: 100%; border: round $foreground 60%; padding: 0; border-title-color: $foreground; }
#versions { height: 6; border: round $foreground 60%; padding: 0; border-title-color: $foreground; }
#points:focus, #files:focus, #versions:focus { border: heavy $accent; }
OptionList > .option-list--option-disabled { color: $text; }
ModalScreen { align: center middle; }
.box { width: 78; max-width: 100%; height: auto; max-height: 95%; border: heavy $accent; padding: 0 1; }
.box { background: $surface; overflow-y: auto; }
.tall { height: 90%; }
.box Label { width: 100%; }
.box Input { border: tall $secondary; }
.box OptionList { height: 1fr; border: none; }
.bad { color: $error; text-style: bold; }
"""
