"""The part of the OpenSubsonic API that answers from the index: `/rest/METHOD`."""
