"""Every product, in the order of the paper."""

from __future__ import annotations

from reproduce import (
    adjusted_r2,
    departures,
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    figure_s1,
    figure_s2,
    figure_s3,
    table1,
    table2,
    table_s1,
    table_s2,
    table_s3,
    table_s4,
    table_s5,
    weight_hubs,
)

TABLES = tuple(
    module.PRODUCT for module in (table1, table2, table_s1, table_s2, table_s3, table_s4, table_s5)
)
FIGURES = tuple(
    module.PRODUCT
    for module in (figure1, figure2, figure3, figure4, figure5, figure_s1, figure_s2, figure_s3)
)
ANALYSES = (adjusted_r2.PRODUCT, weight_hubs.PRODUCT, departures.PRODUCT)
