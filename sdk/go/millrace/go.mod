module millrace

go 1.24
