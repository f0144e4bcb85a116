"""Replay a week of traffic from files of questions, to see the dashboards move and for tests."""
