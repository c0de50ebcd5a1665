"""What we do in the mailbox on our own: find answers, settle the Sent copy, touch nothing else."""
