"""The command line: one file per command."""


def main() -> int:
    """Run `srgan`. Installations from before the move into chapters start here; new ones start `app.main`."""
    from srgan_dist.cli.app import main as run

    return run()
