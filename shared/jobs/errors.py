"""What can go wrong with a job."""


class JobError(Exception):
    """Base of what a user of jobs can be told; the message is one line."""


class InvalidJobError(JobError):
    """The job is not what its contract says; it can never succeed as it is."""


class UnknownJobError(JobError):
    """No job of this tenant has that identifier."""


class LeaseLostError(JobError):
    """Another worker has taken the job over, or it was ended: nothing may be written for it."""
