"""All experiments of this folder, in the order in which they are reported."""

from arpit_figure1 import ArpitFigure1
from arpit_figure2 import ArpitFigure2
from arpit_figure3 import ArpitFigure3
from arpit_figure4 import ArpitFigure4
from arpit_table1 import ArpitTable1
from arpit_table2 import ArpitTable2
from experiment import AbstractExperiment
from plain_depth import PlainDepth
from zhang_figures2to7 import ZhangFigures2To7
from zhang_tables import ZhangTables

EXPERIMENTS: tuple[type[AbstractExperiment], ...] = (
    ArpitFigure1,
    ArpitFigure2,
    ArpitFigure3,
    ArpitFigure4,
    ArpitTable1,
    ArpitTable2,
    ZhangFigures2To7,
    ZhangTables,
    PlainDepth,
)
