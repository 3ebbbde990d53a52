"""Send what was finished while MLflow was away: `python -m neuroexp.sync`, exactly once however often it is typed."""

from __future__ import annotations

import sys
from pathlib import Path

from neuroexp.command import command
from neuroexp.job import deliver, quiet
from neuroexp.ledger import Cell, read, waiting
from neuroexp.shown import plain


@command
def main() -> None:
    """Deliver the records that wait in a ledger, by default ./outputs/cells; exit with 1 when a store is still away."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from neuroexp.tracking import StoreError, open_store  # noqa: PLC0415 - a second to import

    ledger = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/cells")
    if len(sys.argv) > 2 or not ledger.is_dir():
        sys.exit(
            f"{ledger} is no folder of finished cells: python -m neuroexp.sync [FOLDER], by default ./outputs/cells"
        )
    quiet()
    paths = waiting(ledger)
    print(f"{len(paths)} finished runs wait in {ledger}" if paths else f"every finished run in {ledger} is in MLflow")
    problems: dict[str, str] = {}
    for path in paths:
        cell = Cell.at(path.parent)
        with cell.claim() as mine:
            record = read(path) if mine else None  # somebody else may be sending it
            if record is None or record["sent"] or record["store"]["uri"] in problems:
                continue
            try:
                store = open_store(**record["store"])
                run_id = deliver(cell, record, store)
            except (StoreError, ValueError) as error:
                problems[record["store"]["uri"]] = str(error)
            else:
                print(plain(f"{record['name']}: {run_id}"))
    if problems:
        sys.exit("\n".join(problems.values()))


if __name__ == "__main__":
    main()
