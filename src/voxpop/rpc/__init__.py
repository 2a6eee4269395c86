"""The gRPC face: xAI's services over the desk; it parses and renders, and is imported only where its package is."""
