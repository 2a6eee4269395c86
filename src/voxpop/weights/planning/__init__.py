"""What it takes to run a Grok model: machines, formats, programs and prices; arithmetic that reads no weights."""
