{"key":"e45ee306e7f82e0c","algorithm":"ed25519","signature":"tncffbb1pAbG5W0B24MLoqblVfXTHZdmuEdHs2sUkIcX5zmlzBTu2voqpcMzIWvuHHR4SnpZv2qCdfS+ZjxqAA=="}
