"""Files of figures: folders are made where asked, and faults are sentences."""
import pytest
from matplotlib.figure import Figure

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.figures import style_axes, write_png


def test_a_folder_is_made_only_where_asked(tmp_path):
    path = tmp_path / 'new' / 'plot.png'
    with pytest.raises(VisualizationError, match='Cannot write the plot to .*plot.png: .*Give a'):
        write_png(path, Figure())
    write_png(path, Figure(), make_folder=True)
    assert path.read_bytes()[:4] == b'\x89PNG'


def test_axes_have_a_grid_and_no_frame():
    axes = Figure().subplots()
    style_axes(axes, 'x')
    assert not any(spine.get_visible() for spine in axes.spines.values())
    assert axes.get_axisbelow() is True
    assert axes.xaxis.get_gridlines()[0].get_visible()
    assert not axes.yaxis.get_gridlines()[0].get_visible()
