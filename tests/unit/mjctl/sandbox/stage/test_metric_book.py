"""Tests that the values of a minute are summarised, and that counts of processes become counts of a minute."""

from __future__ import annotations

from mjctl.sandbox.stage.metric_book import Differences, MetricBook, MetricName, StatisticSet

NAME = MetricName("eu-west-1", "AWS/SQS", "NumberOfMessagesSent", (("QueueName", "q"),))


def test_the_values_of_a_minute_are_summarised_and_then_forgotten() -> None:
    book = MetricBook()
    for value in (3.0, 1.0, 2.0):
        book.record(NAME, value)
    assert book.take() == {NAME: StatisticSet(3, 6.0, 1.0, 3.0)}
    assert book.take() == {}


def test_a_count_since_the_start_becomes_a_count_since_the_last_look() -> None:
    differences = Differences()
    assert [differences.since_last("a", total) for total in (4, 4, 7)] == [4, 0, 3]


def test_a_count_of_a_process_that_has_started_again_begins_at_zero() -> None:
    differences = Differences()
    assert [differences.since_last("a", total) for total in (9, 2, 5)] == [9, 2, 3]
