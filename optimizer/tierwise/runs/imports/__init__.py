"""What other tools wrote, as ours: data sets as items, logs as a recording, a task and a job."""
