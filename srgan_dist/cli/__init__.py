"""The command line, one module per command."""


def main() -> int:
    """Run `srgan`. Older installations have this function as their entry point; newer ones have `app.main`."""
    from srgan_dist.cli.app import main as run

    return run()
