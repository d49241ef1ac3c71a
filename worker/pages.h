/*
 * pages.h -- what is served as it was built: /openapi.json, the description of all routes,
 * and /docs, which shows it. Constant bytes of the binary (worker/pages/, by the Makefile):
 * nothing is read, copied or computed for an answer.
 * Proof: tests/e2e/test_openapi.py, test_docs.py; scripts/check-api.
 */
#ifndef PEERSCOPE_WORKER_PAGES_H
#define PEERSCOPE_WORKER_PAGES_H

#include "worker/http.h"

void pages_openapi(struct ask *a);	/* /openapi.json; pages of any origin may read it */
void pages_docs(struct ask *a);		/* /docs */
void pages_part(struct ask *a);		/* /docs/{file}: its script and its style */

#endif
