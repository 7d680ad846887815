"""A door for clients of OpenAI's Images API: its requests, answers and errors, translated."""
