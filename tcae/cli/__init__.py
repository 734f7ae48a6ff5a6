"""What the commands share: options, errors, exit statuses, lines and bars of progress, signals."""
