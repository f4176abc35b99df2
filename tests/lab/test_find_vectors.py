"""What notebooks 07 and 08 open to measure with."""

from dataclasses import replace

import pytest

from ohlora_lib.lab.find_vectors import Tools
from ohlora_lib.measure.parse import EmbeddedParser
from ohlora_lib.models.property_cnn import PropertyCNN
from ohlora_lib.steering.meters import CnnMeter, ParserMeter
from ohlora_lib.train.regressor import SMALL

NONE = replace(SMALL.network, conv_dropout=0.0, dense_dropout=0.0, hairstyle_dropout=0.0)


@pytest.mark.parametrize(
    ("rates", "measured"),
    [({}, False), ({"hairstyle_dropout": 0.25}, False), ({"dense_dropout": 0.4}, True)],
)
def test_dropout_is_measured_only_where_what_reads_the_expression_has_it(rates, measured):
    cnn = CnnMeter(PropertyCNN(replace(NONE, **rates)))
    tools = Tools(None, cnn, ParserMeter(parser=None), annotator=None, stands_in=False)
    assert ("dropout" in tools.others()) == measured


@pytest.mark.parametrize(
    ("parser", "stands_in", "reads"),
    [
        (EmbeddedParser(None), False, True),
        (None, False, False),
        (EmbeddedParser(None), True, False),
    ],
)
def test_the_annotator_reads_toy_faces_too_unless_it_is_the_cnn_already(parser, stands_in, reads):
    cnn = CnnMeter(PropertyCNN(NONE))
    tools = Tools(None, cnn, ParserMeter(parser), annotator=None, stands_in=stands_in)
    assert ("annotator" in tools.others()) == reads
