"""The plan: one job for equal wishes, dependencies, failures and the time left, with
executors that only pretend.
"""

import pytest

from scripts.jobs.plan import Clock, Job, Outcome, Plan, run_plan


def job(name, *needs, weight=1.0, family="", **settings):
    return Job(name, "run", settings, needs, weight, family=family)


class Pretend:
    """Ends the job that was started first; those in `failing` fail."""

    def __init__(self, slots=2, failing=()):
        self.slots, self.failing = slots, failing
        self.started, self.running, self.most = [], [], 0

    def submit(self, job):
        self.started.append(job.name)
        self.running.append(job)
        self.most = max(self.most, len(self.running))

    def wait(self):
        first = self.running.pop(0)
        return [
            Outcome(
                first,
                2 * first.weight,
                "it broke" if first.name in self.failing else "",
            )
        ]


def diamond():
    plan = Plan()
    for one in (
        job("source", weight=5),
        job("a", "source"),
        job("b", "source"),
        job("table", "a", "b"),
        job("alone"),
    ):
        plan.add(one)
    return plan


def test_equal_jobs_are_one_and_different_ones_of_a_name_an_error():
    plan = Plan()
    assert plan.add(job("a", shots=5)) == plan.add(job("a", shots=5)) == "a"
    assert len(plan) == 1 and plan.counts() == {"run": 1}
    with pytest.raises(
        ValueError, match="two different jobs are named a; they differ in shots"
    ):
        plan.add(job("a", shots=20))
    with pytest.raises(ValueError, match="needs b, which is not in the plan"):
        plan.add(job("c", "b"))


def test_a_job_starts_after_those_it_needs_and_the_longest_chain_first():
    executor = Pretend()
    report = run_plan(diamond(), executor, lambda job: False)
    order = executor.started
    assert (
        sorted(report.done) == sorted(order) == ["a", "alone", "b", "source", "table"]
    )
    assert order[0] == "source" and order[-1] == "table" and executor.most == 2
    assert not report.failed and not report.skipped and not report.reused


def test_a_failure_skips_its_dependents_and_nothing_else():
    report = run_plan(diamond(), Pretend(failing=("a",)), lambda job: False)
    assert report.failed == {"a": "it broke"} and report.skipped == {"table": "a"}
    assert sorted(report.done) == ["alone", "b", "source"]
    report = run_plan(diamond(), Pretend(failing=("source",)), lambda job: False)
    assert report.skipped == {
        "a": "source",
        "b": "source",
        "table": "source",
    } and report.done == ["alone"]


def test_results_are_reused_where_all_that_they_need_is_there():
    executor = Pretend()
    report = run_plan(
        diamond(), executor, lambda job: job.name in ("source", "a", "table")
    )
    # the table's input b is made again, so the table is, too
    assert report.reused == ["source", "a"]
    assert sorted(executor.started) == ["alone", "b", "table"]


def test_a_folder_that_holds_another_run_is_that_jobs_failure():
    def finished(job):
        if job.name == "a":
            raise ValueError("a holds another run")
        return job.name == "source"

    report = run_plan(diamond(), Pretend(), finished)
    assert report.failed == {"a": "a holds another run"} and report.skipped == {
        "table": "a"
    }
    assert report.reused == ["source"] and sorted(report.done) == ["alone", "b"]


def test_the_time_left_is_corrected_by_measured_times_of_a_family():
    jobs = [
        job("a", weight=10, family="x"),
        job("b", weight=10, family="x"),
        job("c", weight=10, family="y"),
    ]
    clock = Clock(jobs, slots=2)
    assert clock.seconds() == 15
    clock.ended(Outcome(jobs[0], 30.0))
    # both at three times the expected seconds: y is not known, so all are taken
    assert clock.seconds() == 30
    clock.ended(Outcome(jobs[2], 10.0))
    assert clock.seconds() == 15
    clock.ended(Outcome(jobs[1], 1.0, "it broke"))
    assert clock.seconds() == 0
