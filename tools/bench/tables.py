"""Tables of text, plain or Markdown, and the list of bars."""
import dataclasses


class Tables:
    """Prints each table as soon as it is there."""

    def __init__(self, markdown):
        self.markdown = markdown
        self.bars = []

    def title(self, text):
        print(f"\n{'## ' if self.markdown else ''}{text}\n", flush=True)

    def note(self, text):
        print(("" if self.markdown else "  ") + text, flush=True)

    def table(self, head, rows):
        """Words stand left, figures right; the first column and any with a word in its first row hold words."""
        rows = [[shown(cell) for cell in row] for row in rows]
        figures = [any(is_figure(row[i]) for row in rows) for i in range(len(head))]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        aligned = lambda row: [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, figures)]
        lines = ["| " + " | ".join(aligned(row)) + " |" if self.markdown else "  ".join(aligned(row)).rstrip()
                 for row in [head, *rows]]
        if self.markdown:
            lines.insert(1, "|" + "|".join("-" * (w + 1) + (":" if right else "-") for w, right in zip(widths, figures)) + "|")
        print("\n".join(lines) + "\n", flush=True)

    def bar(self, what, measured, wanted, at_most=True):
        self.bars.append(Bar(what, measured, wanted, at_most))

    def print_bars(self):
        if self.bars:
            self.title("Bars")
            self.table(["", "measured", "wanted", ""], [bar.row() for bar in self.bars])


@dataclasses.dataclass
class Bar:
    what: str
    measured: float
    wanted: float
    at_most: bool

    def row(self):
        met = self.measured <= self.wanted if self.at_most else self.measured >= self.wanted
        sign = "<=" if self.at_most else ">="
        return [self.what, f"{self.measured:.3g}", f"{sign} {self.wanted:.3g}", "met" if met else "MISSED"]


def shown(cell):
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return str(cell)


def is_figure(text):
    return text.replace(".", "", 1).replace("%", "").strip().isdigit()
