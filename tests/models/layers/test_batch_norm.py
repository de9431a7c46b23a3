from torch import nn

from sbp_tad.models.layers.batch_norm import freeze_batch_norm


def test_batch_norm_alone_is_put_into_evaluation_mode():
    network = nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2), nn.Sequential(
        nn.BatchNorm3d(2), nn.Dropout()))
    freeze_batch_norm(network)
    frozen = [type(layer).__name__ for layer in network.modules() if not layer.training]
    assert frozen == ['BatchNorm1d', 'BatchNorm3d']
