"""What every stage needs: paths, parameters, files, the device, fingerprints."""
