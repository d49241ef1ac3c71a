/* country.h -- English short names of ISO 3166-1 alpha-2 codes, for databases that
 * hold only the code. */
#ifndef PEERSCOPE_GEO_COUNTRY_H
#define PEERSCOPE_GEO_COUNTRY_H

/* code: two upper-case letters. NULL: no such country. */
const char *country_name(const char *code);

#endif
