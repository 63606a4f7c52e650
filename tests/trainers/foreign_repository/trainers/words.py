WORDS = "words of the repository"
