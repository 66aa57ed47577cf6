"""Summaries in text and in HTML."""

import html.parser
import re

import numpy as np
import pytest

import nvpflow

X = np.random.RandomState(0).normal(size=(60, 3))


def make_flow(dim=3, context_dim=2, hidden=(5, 4), dtype="float64"):
    options = dict(context_dim=context_dim, dtype=dtype)
    return nvpflow.Flow([
        nvpflow.CouplingLayer(dim, hidden, **options),
        nvpflow.SplineCoupling(dim, (), n_bins=4, activation="silu", **options),
        nvpflow.CouplingLayer(dim, 1000, networks="shared", **options),
        nvpflow.Permutation(dim, np.arange(dim)[::-1], dtype=dtype),
        nvpflow.LULinear(dim, dtype=dtype),
        nvpflow.ActNorm(dim, dtype=dtype),
    ])  # fmt: skip


class Reader(html.parser.HTMLParser):
    """Reads the cells of all tables, and checks that tags nest and that nothing is loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.styles, self.words = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in {"div", "b", "table", "tr", "td", "th", "details", "summary"}
        assert {name for name, _ in attributes} <= {"style"}
        self.open.append(tag)
        self.styles += [style for _, style in attributes]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


def test_summary():
    flow = make_flow()
    # A line for each layer: widths are identity columns and context, hidden layers, outputs.
    assert flow.summary().splitlines()[:-1] == [
        "layer  type            columns  networks                           parameters  offset",
        "-------------------------------------------------------------------------------------",
        "0      AffineCoupling  101      s_net, b_net: 4 > 5 > 4 > 1, relu         108       0",
        "1      SplineCoupling  101      net: 4 > 11, silu                          55     108",
        "2      AffineCoupling  101      net: 4 > 1000 > 2, relu                 7,002     163",
        "3      Permutation     2 1 0                                                0   7,165",
        "4      LULinear                                                            12   7,165",
        "5      ActNorm                                                              6   7,177",
        "-------------------------------------------------------------------------------------",
    ]
    assert flow.summary().splitlines()[-1] == (
        f"6 layers, 3 dimensions given 2 of context, 7,183 parameters, float64, {flow.layers[0].isa}"
    )
    assert flow.n_parameters == 7183
    assert isinstance(flow.summary(), str) and repr(flow.summary()) == str(flow.summary())


@pytest.mark.parametrize("dim", [16, 17, 784])
def test_many_columns_are_abbreviated(dim):
    flow = make_flow(dim, 0, 4)
    table, cells = flow.summary(), Reader(flow._repr_html_()).rows
    end = "" if dim == 16 else f"... ({dim})"
    assert cells[1][2] == "10" * 8 + end and cells[1][2] in table
    assert cells[4][2] == " ".join(str(dim - 1 - i) for i in range(8)) + f" ... ({dim})" and cells[4][2] in table
    assert "context" not in table and max(map(len, table.splitlines())) < 125
    assert dict(Reader(flow.layers[0]._repr_html_()).rows)["mask"] == "10" * 8 + end


def test_html_matches_summary():
    flow = make_flow()
    page = Reader(flow._repr_html_())
    lines = flow.summary().splitlines()
    assert [re.sub(r"\s+", " ", " ".join(row)).strip() for row in page.rows] == [
        re.sub(r"\s+", " ", line).strip() for line in (lines[0], *lines[2:-2])
    ]
    assert page.words[-1] == lines[-1] and page.words[0] == "Flow"


def test_html_sets_no_colour():
    """Text and background keep the page's colours, so that light and dark themes work."""
    page = Reader(make_flow()._repr_html_())
    assert page.styles
    for style in page.styles:
        declared = dict(part.split(": ") for part in style.split("; "))
        assert declared.get("color", "inherit") == "inherit" and declared["background"] == "transparent"
        assert "rgba(128, 128, 128" in declared.get("border-bottom", "rgba(128, 128, 128")


@pytest.mark.parametrize("layer", make_flow().layers, ids=lambda layer: type(layer).__name__)
def test_layers(layer):
    page = Reader(layer._repr_html_())
    cells = dict(page.rows)
    assert page.words[0] == type(layer).__name__
    assert cells["dtype"] == "float64" and cells["parameters"] == f"{layer.n_parameters:,}"
    assert cells.keys() - {"dtype", "parameters"} == layer.config().keys() - {"type"}
    assert cells["data_dim"] == "3" and cells.get("hidden_dim", "[5, 4]") in ("[5, 4]", "[1000]", "[]")


@pytest.mark.parametrize("cls", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
def test_estimators(cls):
    model = cls(2, 4, max_iter=5, random_state=0)
    page = Reader(model._repr_html_())
    assert dict(page.rows) == {name: repr(value) for name, value in model.get_params().items()}
    assert "not fitted" in " ".join(page.words)
    bold = [row[0] for row, style in zip(page.rows, page.styles[1::2]) if style.startswith("font-weight: bold")]
    assert bold == sorted(["n_layers", "hidden_dim", "max_iter", "random_state"])
    page = Reader(model.fit(X)._repr_html_())
    cells = dict(row for row in page.rows if len(row) == 2)
    assert cells["n_iter_"] == "5" and cells["n_features_in_"] == "3"
    assert cells["last train_nll"] == f"{model.history_['train_nll'][-1]:.4f}"
    assert "last validation_nll" in cells and ("offset_" in cells) == (cls is not nvpflow.FlowDensity)
    assert [row[1] for row in page.rows if len(row) == 6][1:] == [type(layer).__name__ for layer in model.flow_.layers]
    assert "not fitted" not in " ".join(page.words)


def test_html_is_escaped():
    hostile = "<script>alert('&')</script>"
    page = nvpflow.FlowDensity(activation=hostile)._repr_html_()
    assert "<script>" not in page and dict(Reader(page).rows)["activation"] == repr(hostile)
