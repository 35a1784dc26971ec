"""Scores documents flattened to one name per score."""

from anticipate.protocol.measures import named_scores


def test_every_score_is_named_by_its_path_and_counts_are_left_out():
    document = {
        "overall": {"verb": {"top1": 1.0, "top5": 2.0}, "action": {"top1": 3.0}},
        "num_scored": 9638,
        "time_to_action": 0.5,
    }
    assert named_scores(document) == {
        "overall/verb/top1": 1.0,
        "overall/verb/top5": 2.0,
        "overall/action/top1": 3.0,
        "time_to_action": 0.5,
    }
