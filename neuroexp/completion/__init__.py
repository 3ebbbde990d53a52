"""What a word on a command line may become when Tab is pressed; nothing here builds, trains or writes anything."""
