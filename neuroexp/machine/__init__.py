"""What this machine and the network give: files, places, memory, answers of servers."""
