"""Figures of samples: beside the data, and every pair of columns."""

import numpy as np
import pytest

from nvpflow import plot
from support.figures import DATA, colours, offsets, pixels, sort_rows


class TestSamples:
    def test_panels(self):
        samples = DATA[:100] + 0.1
        left, right = plot.samples(DATA, samples).axes
        np.testing.assert_allclose(offsets(left), DATA)
        np.testing.assert_allclose(offsets(right), samples)
        assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
        assert (left.get_xlim()[0] < DATA[:, 0].min()) and (left.get_xlim()[1] > DATA[:, 0].max())
        assert left.get_aspect() == right.get_aspect() == 1
        assert left.get_title() == "300 data points" and right.get_title() == "100 samples"
        assert not np.array_equal(colours(left)[0], colours(right)[0])

    def test_title_counts_samples_outside(self):
        samples = DATA.copy()
        samples[:3] = [[1e6, 0], [np.nan, 0], [0, -np.inf]]
        _left, right = plot.samples(DATA, samples).axes
        assert right.get_title() == "300 samples, 3 of them outside"
        assert right.get_xlim() == plot.samples(DATA, DATA).axes[0].get_xlim()

    @pytest.mark.parametrize("points", [np.zeros((5, 2)), [[1e6, 1e-6]], [[1, 2], [1, 3]]])
    def test_degenerate_points(self, points):
        for ax in plot.samples(points, points).axes:
            assert ax.get_xlim()[0] < ax.get_xlim()[1] and ax.get_ylim()[0] < ax.get_ylim()[1]

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match=r"data must have shape \(n, 2\)"):
            plot.samples(np.zeros((5, 3)), DATA)
        with pytest.raises(ValueError, match=r"samples must have shape \(n, 2\) with n >= 1"):
            plot.samples(DATA, np.zeros((0, 2)))
        with pytest.raises(ValueError, match="data must be finite"):
            plot.samples([[np.nan, 0]], DATA)
        with pytest.raises(TypeError, match="samples must be an array of real numbers"):
            plot.samples(DATA, [["a", "b"]])


class TestCorner:
    DATA3 = np.random.default_rng(1).normal(size=(400, 3)) * [1, 10, 0.1] + [0, 5, -3]

    def test_pairs(self):
        samples = self.DATA3[:150] + 0.01
        names = ["a", "b", "c"]
        grid = np.reshape(plot.corner(self.DATA3, samples, names=names).axes, (3, 3))
        both = np.concatenate([self.DATA3, samples])
        for row in range(3):
            for column in range(row):
                points = offsets(grid[row, column])
                np.testing.assert_allclose(sort_rows(points), sort_rows(both[:, [column, row]]))
        assert [ax.get_xlabel() for ax in grid[2]] == names
        assert [ax.get_ylabel() for ax in grid[1:, 0]] == names[1:]
        assert not any(grid[i, j].axison for i in range(3) for j in range(i + 1, 3))
        legend = [text.get_text() for text in grid[0, 0].get_legend().get_texts()]
        assert legend == ["400 data points", "150 samples"]

    def test_colours_and_order(self):
        samples = self.DATA3[:150] + 100
        ax = plot.corner(self.DATA3, samples).axes[3]
        colour, is_sample = colours(ax), offsets(ax)[:, 0] > 50
        assert is_sample.sum() == 150
        assert len(np.unique(colour[is_sample], axis=0)) == len(np.unique(colour[~is_sample], axis=0)) == 1
        assert not np.array_equal(colour[is_sample][0], colour[~is_sample][0])
        assert is_sample[: len(is_sample) // 2].sum() == pytest.approx(75, abs=25)

    def test_diagonal(self):
        samples = self.DATA3[:200] + [0, 1e6, 0]  # of the second column, nothing is in view
        grid = np.reshape(plot.corner(self.DATA3, samples, bins=20).axes, (3, 3))
        for i in range(3):
            data_bars, sample_bars = grid[i, i].patches
            for bars, column in ((data_bars, self.DATA3[:, i]), (sample_bars, samples[:, i])):
                heights, edges, _ = bars.get_data()
                assert len(heights) == 20
                inside = np.mean((column >= edges[0]) & (column <= edges[-1]))
                assert np.sum(heights * np.diff(edges)) == pytest.approx(inside)
        assert inside > 0.98

    def test_samples_alone(self):
        ax, *_ = plot.corner(samples=self.DATA3).axes
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["400 samples"]
        data_colour = colours(plot.corner(self.DATA3).axes[3])[0]
        assert not np.array_equal(colours(plot.corner(samples=self.DATA3).axes[3])[0], data_colour)

    @pytest.mark.parametrize("dim", [1, 2])
    def test_few_columns(self, dim):
        figure = plot.corner(self.DATA3[:, :dim])
        pixels(figure)
        assert len(figure.axes) == dim**2

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match=r"data must have shape \(n, D\) with n >= 1, got \(400,\): reshape"):
            plot.corner(self.DATA3[:, 0])
        with pytest.raises(ValueError, match=r"samples must have shape \(n, 3\)"):
            plot.corner(self.DATA3, DATA)
        with pytest.raises(ValueError, match="data and samples must not both be missing"):
            plot.corner()
        with pytest.raises(ValueError, match="data must have at most 16 columns to be drawn, got 17"):
            plot.corner(np.zeros((5, 17)))
        with pytest.raises(ValueError, match="data must be finite"):
            plot.corner([[np.inf, 1]])
        with pytest.raises(ValueError, match="bins must be at least 1"):
            plot.corner(self.DATA3, bins=0)
