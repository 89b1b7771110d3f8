"""Why a candidate was or was not retrieved, and its way from publish to retrievable: from the topics, beside a node's word."""
