// @ts-check
// The parts of the API's responses that the page reads. Types only; the browser does not load this file.

/** @typedef {{low: number, high: number}} Range */
/** @typedef {{field: string, message: string}} FieldError */
/** @typedef {{title: string, status: number, detail: string, request_id: string|null, errors: FieldError[]}} Problem */

/**
 * @typedef {object} Answer
 * @property {string} prediction_id
 * @property {string} model
 * @property {string} method
 * @property {{index: number, label: string, text: string}} option
 * @property {number} confidence
 * @property {{label: string, probability: number}[]} probabilities
 * @property {number|null} feu
 * @property {{total: number, aleatoric: number|null, epistemic: number|null, error_score: number|null}} uncertainty
 * @property {boolean} abstain
 * @property {"below_threshold"|"set_too_large"|null} abstain_reason
 * @property {number|null} threshold
 * @property {string[]|null} prediction_set
 * @property {number|null} coverage
 */

/**
 * @typedef {object} Scores
 * @property {number} questions
 * @property {number} accuracy
 * @property {Range} accuracy_interval
 * @property {number} ece
 * @property {number} ece_noise_floor
 * @property {number} ece_noise_floor_p95
 * @property {number} rms_calibration_error
 * @property {Range} rms_calibration_error_interval
 * @property {number} nll
 * @property {Range} nll_interval
 * @property {number} brier
 * @property {Range} brier_interval
 */

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {number} version
 * @property {string[]} aliases
 * @property {boolean} loaded
 * @property {boolean} ready
 * @property {boolean} default
 * @property {string} method
 * @property {{name: string}} base
 * @property {number} passes
 * @property {Scores} scores
 */

/** @typedef {{name: string, version: number | null, error: string}} DamagedModel */
/** @typedef {{models: Model[], damaged: DamagedModel[], next: string|null}} ModelPage */
/** @typedef {{alias: string, version: number, previous: number|null, promoted_at: string}} PromotionEntry */
/** @typedef {{aliases: Record<string, number>, promotions: PromotionEntry[]}} PromotionHistory */

/**
 * @typedef {object} Bin
 * @property {number} low
 * @property {number} high
 * @property {number} predictions
 * @property {number} labelled
 * @property {number|null} mean_confidence
 * @property {number|null} accuracy
 * @property {Range|null} accuracy_interval
 */

/** @typedef {{threshold: number, coverage: number, answered: number, selective_risk: number|null}} CurvePoint */
/** @typedef {{test: string, log_evidence: number, alarm: boolean, alarmed_at: string|null, labels: number, since: string}} SequentialTest */

/**
 * @typedef {object} Labelled
 * @property {number} questions
 * @property {number} accuracy
 * @property {number} mean_confidence
 * @property {number} signed_gap
 * @property {number} ece
 * @property {{mean: number, p95: number}} ece_noise_floor
 * @property {number} rms_calibration_error
 * @property {Range} rms_calibration_error_interval
 * @property {number|null} selective_risk
 * @property {number|null} gap_z
 * @property {number|null} spiegelhalter_z
 * @property {Bin[]} bins
 * @property {CurvePoint[]} curve
 */

/**
 * @typedef {object} Reference
 * @property {number} questions
 * @property {number} accuracy
 * @property {number} ece
 * @property {{threshold: number|null}|null} abstention
 * @property {CurvePoint[]|null} curve
 */

/** @typedef {"too_few_labels"|"no_evidence"|"overconfident"|"underconfident"|"miscalibrated"|"more_errors"} State */
/** @typedef {"overconfident_alarm"|"underconfident_alarm"|"error_rate_alarm"|"ece"|"gap_z"|"spiegelhalter_z"} Reason */
/** @typedef {{state: State, reasons: Reason[]}} Verdict */
/** @typedef {{model: string, test: string, alarmed_at: string, labels: number}} Alarm */

/**
 * @typedef {object} Cohort
 * @property {string} model
 * @property {Verdict} verdict
 * @property {number} predictions
 * @property {number} mean_confidence
 * @property {number} coverage
 * @property {number} label_share
 * @property {{median_seconds: number, p90_seconds: number}|null} label_delay
 * @property {Reference|null} reference
 * @property {Labelled|null} labelled
 * @property {SequentialTest[]} sequential
 */

/** @typedef {{since: string, until: string, alarms: Alarm[], models: Cohort[]}} CalibrationReport */

/**
 * @typedef {object} HistoryPoint
 * @property {string} start
 * @property {number} predictions
 * @property {number} labelled
 * @property {number|null} mean_confidence
 * @property {number|null} accuracy
 * @property {Range|null} accuracy_interval
 */

/** @typedef {{model: string, points: HistoryPoint[]}} VersionHistory */
/** @typedef {{since: string, until: string, interval_seconds: number, models: VersionHistory[]}} History */

/**
 * @typedef {object} Status
 * @property {string} version
 * @property {string} started_at
 * @property {string|null} default_model
 * @property {boolean} ready
 * @property {string} tenant
 * @property {string[]} scopes
 * @property {{waiting: number, limit: number}} queue
 * @property {{requests: number, median_seconds: number, p95_seconds: number}|null} latency
 */

/** @typedef {{option: {index: number, label: string}, correct: boolean, source: string|null, labelled_at: string}} StoredLabel */

/**
 * @typedef {object} StoredPrediction
 * @property {string} prediction_id
 * @property {string} created_at
 * @property {string} tenant
 * @property {string} model
 * @property {string} method
 * @property {string} task
 * @property {{index: number, label: string, text?: string|null}} option
 * @property {number} confidence
 * @property {{label: string, probability: number}[]} probabilities
 * @property {number|null} feu
 * @property {boolean} abstain
 * @property {string|null} abstain_reason
 * @property {number|null} threshold
 * @property {string[]} tags
 * @property {{question: string, options: string[]}|null} question
 * @property {StoredLabel|null} label
 */

/** @typedef {{since: string, until: string, predictions: StoredPrediction[], next: string|null}} PredictionPage */

export {};
