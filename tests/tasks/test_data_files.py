"""Files of items as people have them: read, or named with line and remedy; missing is missing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pytest

from tierwise.errors import InputError
from tierwise.tasks import AnswerSpec
from tierwise.tasks.data_files import columns_of, header_doubt, load_items, notes_on
from tierwise.tasks.items import Fields
from tierwise.tasks.metrics import METRICS

CHOICE = AnswerSpec(None, "last", "choice")
FLAT = Fields({"question": "question"})


def written(tmp_path, name: str, content: str | bytes):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, fields=FLAT, answer=None, inputs=("question",)):
    return load_items(path, list(inputs), fields, answer)


def fault(path, fields=FLAT, answer=None, inputs=("question",)) -> str:
    with pytest.raises(InputError) as caught:
        read(path, fields, answer, inputs)
    return str(caught.value).replace(str(path.parent) + "/", "")


def test_a_cell_may_hold_a_whole_document(tmp_path):
    rows = f'question,target\n"{"clause 7. " * 15_000}",7\n'
    assert len(read(written(tmp_path, "a.csv", rows))[0].inputs["question"]) == 150_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'question;target\n"Which, then; one?";a\n'),
        ("a.csv", "question\ttarget\nWhich, then; one?\ta\n"),
        ("a.csv", "question|target\nWhich, then; one?|a\n"),
        ("a.tsv", "question\ttarget\nWhich, then; one?\ta\n"),
        ("a.tab", "question\ttarget\r\nWhich, then; one?\ta\r\n"),
        ("a.csv", '"question","target"\n"Which, then; one?","a"\n'),
        ("a.csv", "\ufeffquestion;target\nWhich, then\x3b one?;a\n".replace("\x3b one", ", one")),
        ("a.jsonl", '{"question": "Which, then; one?", "target": "a"}\n'),
        ("a.ndjson", '{"question": "Which, then; one?", "target": "a"}\n'),
        ("a.json", '{"question": "x", "target": "a"}\n{"question": "y", "target": "a"}\n'),
    ],
)
def test_delimiters_and_endings(tmp_path, name, content):
    assert read(written(tmp_path, name, content))[0].target == "a"


def test_what_was_assumed_is_said(tmp_path):
    assert "semicolon" in notes_on(written(tmp_path, "a.csv", "question;target\nx;a\n"))[0]
    assert notes_on(written(tmp_path, "b.csv", "question,target\nx,a\n")) == []
    assert notes_on(written(tmp_path, "b.jsonl", "{}\n")) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_and_marks_of_byte_order(tmp_path, encoding):
    content = "question,target\nWo steht „Öl“?,ja\n".encode(encoding)
    assert read(written(tmp_path, "a.csv", content))[0].inputs["question"] == "Wo steht „Öl“?"


def test_other_encodings_are_named_with_line_and_remedy(tmp_path):
    path = written(tmp_path, "a.csv", "question,target\nx,a\nÖl,b\n".encode("cp1252"))
    assert fault(path).startswith("a.csv:3: is not text in UTF-8: save the file as UTF-8")


def test_a_column_twice(tmp_path):
    path = written(tmp_path, "a.csv", "question,target,target\nx,a,b\n")
    assert fault(path) == "a.csv:1: the column 'target' is here twice: which one counts?"


def test_a_key_twice(tmp_path):
    path = written(
        tmp_path, "a.jsonl", '{"question": "x", "target": "a"}\n{"target": "a", "target": "b"}\n'
    )
    assert fault(path) == "a.jsonl:2: the key 'target' is here twice"
    path = written(tmp_path, "a.json", '[{"question": "x", "target": "a", "target": "b"}]')
    assert fault(path) == "a.json: an object has the key 'target' twice"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            '{"question": "x", "target": NaN}',
            "target 'target' must be text or a number, got nothing",
        ),
        ('{"question": "x", "target": null}', "got nothing (null or NaN)"),
        (
            '{"question": NaN, "target": "a"}',
            "input 'question' must be text or a number, got nothing",
        ),
        ('{"question": "x", "target": []}', "the target is missing: an empty list"),
        ('{"question": "x", "target": {"a": 1}}', "got an object: name target.a"),
        ('{"question": {"stem": "x"}, "target": "a"}', "got an object: name question.stem"),
        ('{"qestion": "x", "target": "a"}', "unknown field 'question'; did you mean 'qestion'?"),
    ],
)
def test_missing_is_missing_and_objects_are_named(tmp_path, row, says):
    assert says in fault(written(tmp_path, "a.jsonl", row + "\n"))


@pytest.mark.parametrize("cell", ["nan", "NaN", "<NA>", "NaT"])
def test_what_a_table_writes_for_a_missing_cell_is_no_text(tmp_path, cell):
    said = fault(written(tmp_path, "a.csv", f"question,target\nx,a\ny,{cell}\n"))
    assert said.startswith("a.csv:3: target 'target' must be text or a number, got nothing")


@pytest.mark.parametrize(
    ("value", "target"),
    [("3.0", "3"), ("-2.0", "-2"), ("2.5", "2.5"), ("7", "7"), ("true", "true")],
)
def test_whole_numbers_are_written_as_such(tmp_path, value, target):
    path = written(tmp_path, "a.jsonl", f'{{"question": "x", "target": {value}}}\n')
    assert read(path)[0].target == target


def test_equal_rows_are_one_item_and_equal_ids_are_faults(tmp_path):
    path = written(tmp_path, "a.csv", "question,target\nx,a\nx,a\ny,a\nx,a\n")
    assert [item.inputs["question"] for item in read(path)] == ["x", "y"]
    assert notes_on(path) == ["2 of 4 rows are the same as an earlier one and count once"]
    path = written(tmp_path, "b.csv", "id,question,target\n1,x,a\n1,y,a\n")
    assert fault(path) == "b.csv:3: item id '1' is here twice: first in line 2"
    path = written(tmp_path, "c.csv", "id,question,target\n1,x,a\n1,x,a\n")
    assert fault(path).endswith("first in line 2, with the same content")


def test_columns_in_other_scripts_composed_or_not(tmp_path):
    fields = Fields({"question": "質問"}, "Lo\u0308sung")  # o and a combining mark
    path = written(tmp_path, "a.csv", "質問,Lösung\n何ですか,油\n")
    assert read(path, fields)[0].inputs == {"question": "何ですか"}
    assert read(path, fields)[0].target == "油"


def test_a_csv_without_a_header_has_numbered_columns(tmp_path):
    path = written(tmp_path, "a.csv", "What is 2 + 2?,3,4,5,6,B\nAnd 3 + 3?,5,6,7,8,B\n")
    items = read(path, Fields({"question": "0", "b": "2"}, "5"), inputs=("question", "b"))
    assert [item.inputs["b"] for item in items] == ["4", "6"]
    assert "first line looks like an item" in (header_doubt(columns_of(path)) or "")
    assert header_doubt(("question", "target", "q2")) is None


def test_options_in_every_export_and_targets_that_number_them(tmp_path):
    """MMLU (0 … 3), ARC (labels, also 1 … 4), MedQA (by letter), and targets that are the text."""
    rows = [
        {"q": "a", "o": ["iron", "tin", "gallium"], "t": 2},
        {"q": "b", "o": ["iron", "tin", "gallium"], "t": 0},
        {"q": "c", "o": {"text": ["iron", "gallium"], "label": ["1", "2"]}, "t": "2"},
        {"q": "d", "o": {"text": ["iron", "gallium"], "label": ["A", "B"]}, "t": "B"},
        {"q": "e", "o": [{"text": "iron", "label": "A"}, {"text": "tin", "label": "B"}], "t": "B"},
        {"q": "f", "o": {"A": "iron", "B": "tin"}, "t": "tin"},
    ]
    path = written(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    items = read(path, Fields({"q": "q", "o": "o"}, "t"), CHOICE, ("q", "o"))
    assert [item.target for item in items] == ["C", "A", "B", "B", "B", "B"]
    assert items[2].inputs["o"] == "A. iron\nB. gallium"


@pytest.mark.parametrize(
    "whole",
    [
        {"version": "1.1", "data": [{"question": "x", "target": "a"}]},
        {"features": [{"name": "question"}], "rows": [{"question": "x", "target": "a"}]},
        {"question": ["x"], "target": ["a"]},
        {"question": {"0": "x"}, "target": {"0": "a"}},
        {"canary": "c", "tags": ["t"], "examples": [{"question": "x", "target": "a"}]},
    ],
)
def test_json_as_exports_have_it(tmp_path, whole):
    (item,) = read(written(tmp_path, "a.json", json.dumps(whole)))
    assert (item.inputs, item.target) == ({"question": "x"}, "a")


def test_options_with_letters_of_their_own(tmp_path):
    row = {"q": "x", "o": ["A)21", "B)21.5", "C) 22"], "t": "B"}
    path = written(tmp_path, "a.jsonl", json.dumps(row) + "\n")
    (item,) = read(path, Fields({"q": "q", "o": "o"}, "t"), CHOICE, ("q", "o"))
    assert item.inputs["o"] == "A. 21\nB. 21.5\nC. 22"


def test_targets_that_count_from_one(tmp_path):
    rows = "".join(json.dumps({"q": str(n), "o": ["x", "y", "z"], "t": n}) + "\n" for n in (1, 3))
    items = read(
        written(tmp_path, "a.jsonl", rows), Fields({"q": "q", "o": "o"}, "t"), CHOICE, ("q", "o")
    )
    assert [item.target for item in items] == ["A", "C"]


def test_targets_that_the_rule_cannot_read_are_faults_with_their_line(tmp_path):
    rows = "".join(json.dumps({"q": str(n), "o": ["x", "y", "z"], "t": n}) + "\n" for n in (1, 2))
    path = written(tmp_path, "a.jsonl", rows)  # from 0 or from 1?
    said = fault(path, Fields({"q": "q", "o": "o"}, "t"), CHOICE, ("q", "o"))
    assert "the target '1' cannot be read by answer.normalise: choice" in said
    path = written(tmp_path, "b.csv", "question,target\nx,12\ny,a dozen\n")
    said = fault(path, answer=AnswerSpec(None, "last", "number"))
    assert said.startswith(
        "b.csv:3: the target 'a dozen' cannot be read by answer.normalise: number"
    )


def test_several_right_answers(tmp_path):
    """SQuAD's answers, a list, and what lies inside of an object; the metric takes any of them."""
    squad = {
        "question": "x",
        "answers": {"text": ["Denver", "Denver Broncos", "Denver"], "at": [1]},
    }
    path = written(tmp_path, "a.jsonl", json.dumps(squad) + "\n")
    for target in ("answers", "answers.text"):
        (item,) = read(path, Fields({"question": "question"}, target))
        assert item.targets == ("Denver", "Denver Broncos")
    metric = METRICS["exact_match"](AnswerSpec(None, "last", "text"))
    assert [metric(said, item) for said in ("denver", "denver broncos", "boston")] == [1, 1, 0]


def test_a_list_of_labels_is_one_answer_where_sets_are_voted_on(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"question": "x", "target": ["billing", "delivery"]}\n')
    spec = AnswerSpec(None, "last", "labels")
    (item,) = read(path, answer=spec)
    metric = METRICS["exact_match"](spec)
    assert metric(spec.extract("Delivery; billing"), item) == 1
    assert metric(spec.extract("delivery"), item) == 0


def test_nested_exports(tmp_path):
    """ARC as its authors have it."""
    row = {
        "id": "Q1",
        "question": {
            "stem": "x?",
            "choices": [{"text": "tin", "label": "A"}, {"text": "oil", "label": "B"}],
        },
        "answerKey": "B",
    }
    path = written(tmp_path, "a.jsonl", json.dumps(row) + "\n")
    fields = Fields({"q": "question.stem", "o": "question.choices"}, "answerKey")
    (item,) = read(path, fields, CHOICE, ("q", "o"))
    assert (item.id, item.inputs["o"], item.target) == ("Q1", "A. tin\nB. oil", "B")


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="an extra: tierwise[tables]")
    import pyarrow

    rows = [{"question": "x", "target": "a"}, {"question": "y", "target": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows[:1]), tmp_path / "train-0.parquet")
    assert read(tmp_path / "train-0.parquet")[0].target == "a"
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "b.parquet")
    assert fault(tmp_path / "b.parquet").startswith("b.parquet:2: target 'target' must be text")
    said = fault(written(tmp_path, "broken.parquet", b"PAR1\x15\x04\xff\xfe\x00rest"))
    assert "is no readable Parquet file" in said


def test_excel(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="an extra: tierwise[tables]")
    book = openpyxl.Workbook()
    for row in (["question", "target"], ["x", 3.0], [None, None], ["y", None]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert fault(tmp_path / "a.xlsx").startswith("a.xlsx:4: target 'target' must be text")
    book.active.delete_rows(4)
    book.save(tmp_path / "a.xlsx")
    assert [item.target for item in read(tmp_path / "a.xlsx")] == ["3"]
    assert "is no readable Excel file" in fault(written(tmp_path, "b.xlsx", b"PK\x03\x04\xff\xfe"))


@pytest.mark.parametrize(("name", "module"), [("a.parquet", "pyarrow"), ("a.xlsx", "openpyxl")])
def test_tables_without_their_reader_say_what_to_install(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    said = fault(written(tmp_path, name, b"PAR1" if module == "pyarrow" else b"PK\x03\x04"))
    assert f"needs {module}: pip install 'tierwise[tables]'; or save it as" in said


def test_an_old_excel_file_is_named(tmp_path):
    assert "old Excel file (.xls)" in fault(written(tmp_path, "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1"))


SQUAD = {"context": "c", "qas": [{"question": "Q?", "answers": [{"text": "a"}, {"text": "b"}]}]}
DROP = {"spans": [], "number": "3", "date": {}}


@pytest.mark.parametrize(
    ("whole", "inputs", "target", "targets"),
    [
        ({"data": [{"title": "T", "paragraphs": [SQUAD]}]}, "context", "answers", ("a", "b")),
        ([SQUAD], "question", "answers.text", ("a", "b")),
        (
            {"nfl": {"passage": "p", "qa_pairs": [{"question": "Q?", "answer": DROP}]}},
            "passage",
            "answer",
            ("3",),
        ),
        (
            [{"question": "Q?", "answer": {"value": "Bonn", "aliases": ["Bonn", "City of Bonn"]}}],
            "question",
            "answer",
            ("Bonn", "City of Bonn"),
        ),
        (
            [{"q": {"text": "Q?"}, "notes": {"short": [{"text": ["x"]}, {"text": []}]}}],
            "q.text",
            "notes.short.text",
            ("x",),
        ),
        (
            [{"q": "Q?", "spans": {"spans": ["x", "y"], "types": ["span"]}}],
            "q",
            "spans",
            ("x", "y"),
        ),
        ({"rows": [{"row_idx": 0, "row": {"q": "Q?", "t": "x"}}]}, "q", "t", ("x",)),
        ({"columns": ["q", "t"], "index": [0], "data": [["Q?", "x"]]}, "q", "t", ("x",)),
        ({"7": {"q": "Q?", "t": "x"}, "9": {"q": "Q?", "t": "x"}}, "q", "t", ("x",)),
        ([["Q?", "x"]], "0", "1", ("x",)),
        (
            [{"chat": [{"content": "Q?"}, {"content": "no"}, {"content": "x"}]}],
            "chat.0.content",
            "chat.-1.content",
            ("x",),
        ),
    ],
)
def test_exports_of_data_sets(tmp_path, whole, inputs, target, targets):
    """SQuAD, DROP, TriviaQA, Natural Questions, the viewer of Hugging Face, pandas, chats."""
    path = written(tmp_path, "a.json", json.dumps(whole))
    (item,) = read(path, Fields({"question": inputs}, target))
    assert item.targets == targets


@pytest.mark.parametrize(
    "context", [[["A", ["One.", "Two."]], ["B", []]], {"title": ["A"], "sentences": [["One."]]}]
)
def test_paragraphs_are_text(tmp_path, context):
    path = written(tmp_path, "a.json", json.dumps([{"question": context, "target": "x"}]))
    assert read(path)[0].inputs["question"].startswith("A\nOne.")


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("documents", ["We ship on Monday.", "No returns."], "We ship on Monday.\n\nNo returns."),
        ("q", ["x" * 400, "y"], "x" * 400 + "\n\ny"),
        ("docs", [{"title": "A", "text": "One."}, {"text": "Two."}], "A\nOne.\n\nTwo."),
        ("docs", {"title": ["A", "B"], "content": ["1", "2"]}, "A\n1\n\nB\n2"),
        ("docs", [{"id": 7, "text": "One.", "none": None}], "id: 7\ntext: One."),
        (
            "docs",
            [{"page_content": "One.", "metadata": {"source": "a"}}],
            'page_content: One.\nmetadata: {"source": "a"}',
        ),
        ("cart", [{"sku": "x1", "count": 2}], "sku: x1\ncount: 2"),
        ("numbers", [3, 1, 2], "[3, 1, 2]"),
        ("grid", [[1, 2], [3, 4]], "[[1, 2], [3, 4]]"),
        ("docs", [], ""),
        ("options", [3, 1, 2], "A. 3\nB. 1\nC. 2"),
        ("q", ["red", "blue"], "A. red\nB. blue"),
    ],
)
def test_lists_are_documents_options_or_json(tmp_path, column, value, text):
    for row in ({column: value, "target": "x"}, {"inputs": {column: value}, "target": "x"}):
        if "inputs" in row and text.startswith("A. "):
            continue  # nested rows hold no options
        path = written(tmp_path, "a.json", json.dumps([row]))
        (item,) = load_items(path, [column])
        assert item.inputs[column] == text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"sep=;\nquestion;target\nx;a\n"),
        ("a.csv", b"\xe2\x80\x8bquestion,target\nx,a\n"),
        ("a.csv", b"question,target\rx,a\r"),
        ("a.jsonl", b'{"question": "x", "target": "a"}\r{"question": "x", "target": "a"}\r'),
        (
            "a.jsonl",
            b'{\n "question": "x",\n "target": "a"\n}\n{\n "question": "x", "target": "a"}',
        ),
        ("a.jsonl", json.dumps({"question": "x", "target": "a"}).encode("utf-32")),
        ("a.txt", b"question\ttarget\nx\ta\n"),
        ("a.data", b'{"question": "x", "target": "a"}\n'),
        ("a.jsonl", gzip.compress(b'{"question": "x", "target": "a"}', mtime=0)),
        ("a.csv.bz2", bz2.compress(b"question,target\nx,a\n")),
        ("a.csv.xz", lzma.compress(b"question,target\nx,a\n")),
    ],
)
def test_files_as_programs_write_them(tmp_path, name, content):
    path = written(tmp_path, name, content)
    assert [(item.inputs["question"], item.target) for item in read(path)] == [("x", "a")]
    assert isinstance(notes_on(path), list)


def zipped(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.zst", b"\x28\xb5\x2f\xfdxx", "packed by Zstandard: unpack it first"),
        ("a.arrow", b"ARROW1\0\0", "an Arrow file: save it as Parquet"),
        ("a.db", b"SQLite format 3\0", "an SQLite data base: save the table as CSV"),
        ("a.pdf", b"%PDF-1.7", "is a PDF"),
        ("a.docx", zipped("word/document.xml"), "a ZIP archive, or a file of an office program"),
        ("a.html", b"<html>", "is no table: save it as JSON lines or CSV"),
        ("a.yaml", b"- question: x\n", "is no table: save it as JSON lines or CSV"),
        (
            "a.json",
            b'{"train": [{"q": 1}], "test": [{"q": 2}]}',
            "several lists of items (train, test)",
        ),
        (
            "a.jsonl",
            b'{"question": "x", "target": Infinity}',
            "a.jsonl:1: target 'target' is an infinite",
        ),
        ("a.csv", b'question,target\n"a \\"b\\"",x\n', "a.csv:2: not CSV: ',' expected after"),
        ("a.csv", b'question,target\ny,b\n"x,a\n', "a.csv:3: not CSV: unexpected end of data"),
        (
            "a.csv",
            b"question,target\nx,NULL\n",
            "a.csv:2: target 'target' must be text or a number",
        ),
        ("a.csv", b"question,target\nx,#DIV/0!\n", "a.csv:2: target 'target' must be text"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_remedy(tmp_path, name, content, says):
    assert says in fault(written(tmp_path, name, content))


def parquet_of(text: str, n: int) -> bytes:
    """A column of one text, stored once."""
    pyarrow = pytest.importorskip("pyarrow", reason="an extra")
    parquet = pytest.importorskip("pyarrow.parquet", reason="an extra")
    held = io.BytesIO()
    parquet.write_table(pyarrow.table({"question": [text] * n, "target": ["1"] * n}), held)
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", lambda: gzip.compress(b" " * 41_000_000, 1)),
        ("a.jsonl.bz2", lambda: bz2.compress(b" " * 41_000_000, 1)),
        ("a.jsonl.xz", lambda: lzma.compress(b" " * 41_000_000, preset=0)),
        ("a.json", lambda: b"[" + b"{}," * 300_000 + b"{}]"),
        ("a.parquet", lambda: parquet_of("x" * 100_000, 500)),
    ],
)
def test_a_file_that_unfolds_is_refused(tmp_path, name, content):
    path = written(tmp_path, name, content())
    assert path.stat().st_size < 4_000_000
    assert "give a part of its items" in fault(path)


@pytest.mark.parametrize(("value", "target"), [("1e22", "1" + "0" * 22), ("1e-7", "0.0000001")])
def test_floats_are_written_out(tmp_path, value, target):
    path = written(tmp_path, "a.jsonl", f'{{"question": "x", "target": {value}}}\n')
    assert read(path)[0].target == target
