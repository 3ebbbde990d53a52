"""What a terminal shows of a launch."""

import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from omegaconf import OmegaConf
from test_survival import TINY

from neuroexp.sweep import progress, summary
from neuroexp.sweep.outcome import Outcome
from neuroexp.terminal import screen


def row(status="finished", score=0.5, seconds=60.0, name="mldcnn W20 S10 fold0", **others) -> Outcome:
    facts = {
        "scores": {"test/f1": score}, "report": ("test/f1",), "run_id": "0123456789abcdef", "log": "job.log",
        "error": "no reason", "uri": "sqlite:///x", "link": "http://",
    }  # fmt: skip
    return Outcome(status=status, seconds=seconds, name=name, **facts | others)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "3 s"), (150, "2 min"), (7200, "2.0 h"), (100 * 3600, "4.2 days"), (59.9, "60 s")]
)
def test_durations_that_people_can_take_in(seconds, words):
    assert screen.duration(seconds) == words


def test_the_line_counts_what_was_done_and_estimates_from_what_was_trained():
    rows = [row(), row("skipped"), row("failed", seconds=1)]
    now = [{"name": "mtdcnn W60", "epoch": 3, "epochs": 80}]
    assert progress.line(5, rows, now) == (
        "[green]1 finished[/], [green]1 skipped[/], [red]1 failed[/], about 2 min left, epoch 3 of 80, mtdcnn W60"
    )
    assert progress.line(7, rows, now * 2).endswith("about 2 min left, 2 running")


def test_of_a_thousand_jobs_the_table_shows_the_failed_and_the_best(capsys):
    rows = [row(score=number / 1000, name=f"job {number}") for number in range(999)] + [row("failed", name="broken")]
    summary.summary(rows)
    out = capsys.readouterr().out
    assert "broken" in out
    assert "job 998" in out
    assert "job 100 " not in out
    assert "the first 60 of 1000 jobs: 999 finished, 1 failed" in out


def test_what_all_runs_share_is_said_once(capsys):
    names = ["mldcnn W20 fold0 lr=0.001 mvc=10", "mldcnn W60 fold0 lr=0.001 mvc=30"]
    summary.summary([row(name=name) for name in names])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "with lr=0.001"
    assert [line.split("  ")[0] for line in lines[3:5]] == ["mldcnn W20 fold0 mvc=10", "mldcnn W60 fold0 mvc=30"]


def test_a_reason_in_brackets_is_printed_whole(capsys):
    summary.summary([row("failed", name="otb path=a[uV]", error="no column such as '... (1)[uV]'")])
    assert capsys.readouterr().out == "otb path=a[uV]: no column such as '... (1)[uV]' (details in job.log)\n"


def test_in_80_columns_the_table_of_a_sweep_has_a_line_per_run(capsys, monkeypatch):
    from rich.console import Console

    names = tuple(OmegaConf.load("conf/dataset/hdsemg.yaml").report)
    job = row(report=names, scores=dict.fromkeys(names, 0.123), seconds=139.7)
    for width, said in ((80, "RoA.9"), (120, "RoA≥0.9")):
        monkeypatch.setattr(summary, "console", lambda width=width: Console(width=width, highlight=False))
        summary.summary([job, replace(job, name="mldcnn W60 S50 fold0")])
        lines = capsys.readouterr().out.splitlines()
        assert said in lines[1].split()
        assert max(map(len, lines[1:4])) <= width


def test_scores_that_need_a_word_get_one_under_the_table(capsys):
    known = {"data/units": 6.0, "test/scored_units": 4.0, "data/positives_outside_window": 0.593, "test/f1": 0.5}
    jobs = [row(name=name, scores=known) for name in ("W20 S50 fold0", "W20 S50 fold1")]
    summary.summary([*jobs, row(score=float("nan"))])
    out = capsys.readouterr().out
    assert "0.000" not in out
    assert (
        "W20 S50 fold0 and 1 more: 2 of 6 units have no discharge in the test part, and no score there (blank in "
        "per_unit.csv)\n" in out
    )
    assert (
        "W20 S50 fold0 and 1 more: 59% of the positives lie outside their window, where no decoder sees them: the step is "
        "longer than the window\n" in out
    )


def test_runs_of_an_earlier_version_leave_new_columns_blank(capsys):
    names = ("test/f1", "test/roa_90_share", "ceiling/roa_90_share")
    new = row(report=names, scores={"test/f1": 0.5, "test/roa_90_share": 0.25, "ceiling/roa_90_share": 1.0})
    old = row("skipped", report=names, scores={"test/f1": 0.5, "test/identified_share": 0.75})
    summary.summary([new, old])
    head, first, second = (line.split() for line in capsys.readouterr().out.splitlines()[1:4])
    assert head[-5:] == ["f1", "RoA≥0.9", "ceiling", "seconds", "status"]
    assert first[-5:] == ["0.500", "0.250", "1.000", "60.0", "finished"]
    assert second[-2:] == ["0.500", "skipped"]


def test_a_budget_is_a_column_of_its_own_where_there_is_one(capsys):
    summary.summary([row(budget="")])
    plain = capsys.readouterr().out
    assert "budget" not in plain
    assert plain.splitlines()[2].split()[4:] == ["01234567", "0.500", "60.0", "finished"]  # the id as commands take it
    over = "over: latency 5.4 of 4.9 ms"
    summary.summary([row(budget="within"), row("skipped", budget=over), row("failed")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip().split("  ")[-1].strip() for line in lines[1:4]] == ["budget", "within", over]


@pytest.mark.parametrize("dataset", ["hdsemg", "eng"])
def test_with_a_budget_the_table_fits_80_columns_and_says_below_it_what_is_over(dataset, capsys, monkeypatch):
    from rich.console import Console

    names = tuple(OmegaConf.load(f"conf/dataset/{dataset}.yaml").report)
    over = "over: latency 0.479 of 0.0001 ms, energy 13.8 of 5 µJ (estimate); unknown: memory"
    job = row(report=names, scores=dict.fromkeys(names, 0.123), seconds=1139.7, budget=over)
    runs = ("W20 S10 mldrsnet fold0 split=random lr=0.001", "W140 S50 mldrsnet fold0 split=random lr=0.001")
    monkeypatch.setattr(summary, "console", lambda: Console(width=80, highlight=False))
    summary.summary([replace(job, name=runs[0]), replace(job, name=runs[1], budget="within")])
    said, head, first, second, below = capsys.readouterr().out.splitlines()[1:6]
    assert said == "with mldrsnet fold0 split=random lr=0.001"
    assert max(map(len, (head, first, second))) <= 80
    assert head.split()[-1] == "budget"
    assert [line.split()[-1] for line in (first, second)] == ["over", "within"]
    assert first.split()[:2] == ["W20", "S10"]
    assert below == f"W20 S10: {over}"
    monkeypatch.setattr(summary, "console", lambda: Console(width=220, highlight=False))
    summary.summary([replace(job, name=runs[0]), replace(job, name=runs[1])])
    assert over in capsys.readouterr().out.splitlines()[3]


@pytest.mark.process
def test_what_a_command_does_is_shown_on_a_terminal_and_gone_at_its_end():
    code = "from neuroexp.terminal import screen\nwith screen.working('reading') as say:\n    say('counting')\nprint('done')"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    assert os.read(ours, 65536).decode() == "\r\x1b[2Kreading ...\r\x1b[2Kcounting ...\r\x1b[2Kdone\r\n"
    os.close(ours)
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr


@pytest.mark.process
def test_a_sweep_on_a_terminal_shows_one_bar(tmp_path):
    ours, theirs = pty.openpty()
    epochs = ("trainer.max_epochs=1,30", "~trainer.callbacks.early_stopping")  # the second is seen under way
    words = ["-m", *epochs, *TINY]
    process = subprocess.Popen(
        [sys.executable, "-m", "neuroexp", *words], cwd=tmp_path, stdout=theirs, stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},  # the names are longer
    )  # fmt: skip
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the end, on Linux
                break
        elif process.poll() is not None:
            break
    os.close(ours)
    assert process.wait(timeout=30) == 0
    text = seen.decode()
    assert "0/2" in text
    assert "1/2" in text
    assert "finished" in text
    assert "Warning" not in text
    assert "INFO" not in text


def test_a_narrow_terminal_cuts_nothing_off_a_table():
    import io

    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False)
    names = [f"a column of {number}" for number in range(9)]
    for name in names:
        grid.add_column(name, no_wrap=True)
    grid.add_row(*("value",) * 9)
    out = Console(file=io.StringIO(), width=80)
    screen.whole(out, grid)
    head, row = out.file.getvalue().splitlines()
    assert head.split("  ")[0].startswith(" ".join(names[:2]))
    assert all(name in head for name in names)
    assert row.split() == ["value"] * 9
    assert out.width == 80


def test_what_was_noticed_in_a_recording_is_said_once_for_all_its_runs(capsys):
    said = "a.mat: units 2 and 5 share 87 % of their discharges [or so]"
    jobs = [row(status, name=f"fold{fold}", notes=(said,)) for fold, status in enumerate(("finished", "skipped"))]
    summary.summary([*jobs, row(notes=("b.mat: another",)), row()])
    lines = capsys.readouterr().out.splitlines()
    assert [lines.count(said), lines.count("b.mat: another")] == [1, 1]
    assert lines.index("b.mat: another") == lines.index(said) + 1
