"""What notebooks 07 and 08 open to measure with."""

from dataclasses import replace

import pytest

from ohlora_lib.lab.find_vectors import Tools
from ohlora_lib.models.property_cnn import PropertyCNN
from ohlora_lib.train.regressor import SMALL
from ohlora_lib.vectors.meters import CnnMeter

NONE = replace(SMALL.network, conv_dropout=0.0, dense_dropout=0.0, hairstyle_dropout=0.0)


@pytest.mark.parametrize(
    ("rates", "measured"),
    [({}, False), ({"hairstyle_dropout": 0.25}, False), ({"dense_dropout": 0.4}, True)],
)
def test_dropout_is_measured_only_where_what_reads_the_expression_has_it(rates, measured):
    cnn = CnnMeter(PropertyCNN(replace(NONE, **rates)))
    tools = Tools(studio=None, cnn=cnn, parse=None, annotator=None, stands_in=False)
    assert bool(tools.dropout()) == measured
