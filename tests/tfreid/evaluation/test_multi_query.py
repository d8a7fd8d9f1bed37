"""Which images make up a query of several images."""

from __future__ import annotations

import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.multi_query import check_multi_query, query_groups


def test_case_worked_on_paper(make_index):
    # Queries: person 3 twice by camera 1, person 4 by camera 1, person 3 by camera 2.
    query = make_index([3, 4, 3, 3], [1, 1, 2, 1])
    #   image   0             1             2             3             4 nobody's  5 nobody's
    images = make_index([4, 3, 3, 3, 4, 9], [1, 2, 1, 1, 2, 1])
    positions, rows, groups = query_groups(query, images, "records")
    assert positions.tolist() == [0, 1, 2, 3]
    assert groups[0] == groups[3] and len(set(groups.tolist())) == 3
    images_of = [positions[rows == group].tolist() for group in groups]
    assert images_of == [[2, 3], [0], [1], [2, 3]]


def test_records_without_the_split_are_refused():
    check_multi_query(["train", "multi_query"], "records")
    with pytest.raises(UserError, match="records holds no split multi_query.*--multi-query"):
        check_multi_query(["train", "query"], "records")


@pytest.mark.parametrize("cameras", [[1, 2], [1, -1]])
def test_a_query_without_images_is_named(make_index, cameras):
    query = make_index([3, 4], cameras)
    images = make_index([3, 4], [1, 1 if cameras[1] > 0 else -1])
    with pytest.raises(UserError, match=f"person 4 by camera {cameras[1]}, which 1.jpg is a query"):
        query_groups(query, images, "records")
