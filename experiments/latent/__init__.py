"""Does GRASP work through a learned visual latent? Push-T through two that nobody designed."""
