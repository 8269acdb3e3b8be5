"""How the processes of a job start, agree and stop, and the precision that they compute in."""
