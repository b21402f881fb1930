from itertools import islice

from shared.local import logs


def test_the_last_lines_of_a_long_log(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {i} {'x' * 100}\n" for i in range(5000)))
    assert [line.split()[1] for line in logs.last_lines(log, 3)] == ["4997", "4998", "4999"]
    assert logs.last_lines(log, 0) == []
    assert len(logs.last_lines(log, 10_000)) == 5000


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert logs.last_lines(tmp_path / "none.log", 3) == []
    assert logs.last_line(tmp_path / "none.log").endswith("is empty")


def test_following_tells_what_is_added_and_loses_nothing_in_a_rotation(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("old\n")
    lines = logs.follow({"a": log}, interval=0.0)
    with log.open("a") as file:
        file.write("one\ntw")
    assert next(lines) == ("a", "one")
    with log.open("a") as file:
        file.write("o\n")
    log.rename(tmp_path / "a.log.1")
    log.write_text("three\n")
    assert list(islice(lines, 2)) == [("a", "two"), ("a", "three")]
    lines.close()
