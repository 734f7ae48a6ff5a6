"""What the commands share: options, errors, exit statuses, progress, signals."""
