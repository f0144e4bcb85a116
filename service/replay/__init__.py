"""A week of traffic replayed from files of questions: for people who want to see the dashboards move, and for tests."""
