"""Every error Roost raises on purpose. Holds no handling: who catches what is the caller's decision.

RoostError
├── InvalidInput                a record or request that can never succeed as it is: dead-letter or 4xx
│   ├── UndecodableRecord       the bytes are not the Avro they claim to be
│   ├── UnknownSchema           a schema id that this build (or the registry) does not know
│   └── InvalidRecord           decoded, but breaks a rule of the contracts
├── BundleError                 a bundle that must not be loaded
│   ├── BundleCorrupt           bytes differ from the manifest, or are not a bundle at all
│   ├── BundleMismatch          whole, but not for this build, surface or index
│   └── BundlesUnavailable      the registry of bundles cannot be reached; try again
├── TopicMismatch               a topic exists with another shape than the contracts ask for
├── BrokerUnavailable           no broker answered; try again
├── OffsetOutOfRange            the log does not hold the next offset: what depends on it is read again from the beginning
├── DeliveryFailed              the broker did not acknowledge a record
├── ControllerUnavailable       no controller answered a command; it may still be answered
├── RegistryUnavailable         the schema registry did not answer; pause and try again
├── Refused                     a gate or a limit said no (exit code 3)
└── CompareAndSetLost           somebody else changed the rollout first (exit code 4)
"""


class RoostError(Exception):
    """Base of all. The message is one sentence that says what is wrong and what to do."""


class InvalidInput(RoostError):
    """Input that fails the same way however often it is tried."""


class UndecodableRecord(InvalidInput):
    """The bytes cannot be read with the schema they name."""


class UnknownSchema(InvalidInput):
    """The frame names a schema id that nobody here knows."""


class InvalidRecord(InvalidInput):
    """A decoded record breaks a rule, such as an id without a kind prefix."""


class BundleError(RoostError):
    """A bundle that must not be loaded; the live one stays."""


class BundleCorrupt(BundleError):
    """Files are missing, truncated, altered, or no bundle at all."""


class BundleMismatch(BundleError):
    """A whole bundle that needs another feature spec, dimension, metric or release."""


class BundlesUnavailable(BundleError):
    """The registry of bundles did not answer, or there is none: nobody knows what bundles it holds."""


class TopicMismatch(RoostError):
    """A topic has another partition count or configuration than the contracts ask for."""


class BrokerUnavailable(RoostError):
    """No broker answered at the bootstrap servers."""


class OffsetOutOfRange(RoostError):
    """The next offset lies before the log's start or behind its end: records, deletes too, may have been missed."""


class DeliveryFailed(RoostError):
    """A produced record was not acknowledged: it is not in the log."""


class ControllerUnavailable(RoostError):
    """No controller answered a command in time: it may still be answered, so look at the status before asking again."""


class RegistryUnavailable(RoostError):
    """The schema registry did not answer: the record may be good, so it must wait."""


class Refused(RoostError):
    """A gate or limit refused what was asked; the command line exits with 3."""


class CompareAndSetLost(RoostError):
    """The expected revision is no longer the current one; the command line exits with 4."""
