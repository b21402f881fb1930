"""The whole periodic timetable: `celery -A beat_schedule beat`."""

from celery.schedules import crontab

from workers.celery import app

app.conf.beat_schedule = {
    # Messages that got lost, leases that ran out. Frequent, because it is what a fault waits for.
    "sweep": {"task": "mlops.sweep", "schedule": 5.0},
    "roll-up-dirty-hours": {"task": "mlops.roll_up_dirty_hours", "schedule": 60.0},
    "sum-units": {"task": "mlops.sum_units_everywhere", "schedule": 60.0},
    "republish-ab-tests": {"task": "mlops.republish_ab_tests", "schedule": 60.0},
    "end-silent-runs": {"task": "mlops.end_silent_runs", "schedule": 60.0},
    "make-event-partitions": {"task": "mlops.make_event_partitions", "schedule": crontab(minute=7)},
    # Days, weeks and months end at midnight (UTC), also for who sends nothing.
    "judge-budgets": {"task": "mlops.judge_budgets_everywhere", "schedule": crontab(minute=2)},
    # Some minutes after the hour: its last events are stored and summed by then.
    "find-cost-anomalies": {
        "task": "mlops.find_cost_anomalies_everywhere",
        "schedule": crontab(minute=9),
    },
    "remove-old-events": {"task": "mlops.remove_old_events", "schedule": crontab(minute=22)},
    "watch-for-drift": {"task": "mlops.watch_for_drift", "schedule": crontab(minute=12)},
    "look-at-ab-tests": {"task": "mlops.look_at_ab_tests", "schedule": crontab(minute=17)},
    "prune-artifacts": {"task": "mlops.prune_artifacts", "schedule": crontab(minute=37)},
    "write-cards": {
        "task": "mlops.write_cards",
        "schedule": crontab(minute=30, hour=3, day_of_week=1),
    },
}
for entry, setting in app.conf.beat_schedule.items():
    # The worker claims (entry, slot of the entry's period) before it acts, so that a second beat,
    # or a backlog of ticks that nobody took, does the work once.
    setting["kwargs"] = {"entry": entry}
    setting["options"] = {"queue": "control"}
# After a night without a worker nobody needs a night's ticks of these.
for often in (
    "sweep",
    "roll-up-dirty-hours",
    "sum-units",
    "republish-ab-tests",
    "end-silent-runs",
):
    app.conf.beat_schedule[often]["options"]["expires"] = 300
