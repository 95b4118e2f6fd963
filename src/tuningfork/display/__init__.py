"""How predictions look: cards, pages and plots in one style."""
