"""Jobs: trainings of a run that its workers do, in other processes and on other machines, as this process would."""
