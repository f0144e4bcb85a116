"""Every kind of question of the quiz: one line of this table is one kind."""

from __future__ import annotations

from training.data.facts.relation import Relation

RELATIONS = (
    Relation(
        "capitals",
        "countries",
        "country",
        "capital",
        ("What is the capital of {}?", "Which city is the capital of {}?"),
        "region",
    ),
    Relation(
        "capitals",
        "countries",
        "capital",
        "country",
        ("Which country has the capital {}?", "{} is the capital of which country?"),
        "region",
    ),
    Relation("countries", "countries", "country", "continent", ("On which continent is {}?",)),
    Relation("countries", "countries", "country", "currency", ("What is the currency of {} called?",), "region"),
    Relation("countries", "countries", "currency", "country", ("In which country is the {} the currency?",), "region"),
    Relation("countries", "countries", "country", "language", ("Which of these is an official language of {}?",)),
    Relation("countries", "countries", "language", "country", ("In which country is {} an official language?",)),
    Relation(
        "countries",
        "countries",
        "country",
        "adjective",
        ("Which adjective describes something that comes from {}?",),
        "region",
    ),
    Relation(
        "countries",
        "countries",
        "adjective",
        "country",
        ("Something that is {} comes from which country?",),
        "region",
    ),
    Relation(
        "country codes", "countries", "country", "iso", ("What is the two-letter ISO country code of {}?",), "region"
    ),
    Relation("country codes", "countries", "iso", "country", ("Which country has the two-letter ISO code {}?",)),
    Relation("country codes", "countries", "country", "calling", ("What is the international calling code of {}?",)),
    Relation(
        "chemistry",
        "elements",
        "element",
        "symbol",
        ("What is the chemical symbol of {}?", "Which chemical symbol stands for {}?"),
    ),
    Relation(
        "chemistry",
        "elements",
        "symbol",
        "element",
        ("Which chemical element has the symbol {}?", "{} is the symbol of which chemical element?"),
    ),
    Relation("chemistry", "elements", "element", "number", ("What is the atomic number of {}?",), "period"),
    Relation("chemistry", "elements", "number", "element", ("Which element has the atomic number {}?",), "period"),
    Relation("chemistry", "elements", "element", "category", ("To which family of elements does {} belong?",)),
    Relation(
        "chemistry",
        "elements",
        "element",
        "state",
        ("In which state is pure {} at room temperature?", "At room temperature, pure {} is in which state?"),
    ),
)
